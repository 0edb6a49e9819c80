"""The database engine for MongoDB: MongoDB's own django-mongodb-backend, and what it lacks (docs/decisions/0011)."""
