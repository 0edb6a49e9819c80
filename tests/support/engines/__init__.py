"""The engines that the tests run on, a class for each: what tests ask of a database, in the same words."""
