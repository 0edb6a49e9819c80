"""The shared foundation of all other packages. It imports none of them."""
