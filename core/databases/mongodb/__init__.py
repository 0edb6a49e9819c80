"""The database engine for MongoDB: django-mongodb-backend plus what it lacks (docs/decisions/0011)."""
