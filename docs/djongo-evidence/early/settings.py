"""An early build of this product, as it would have been on djongo: the tables of our first migrations."""

import os

SECRET_KEY = "only for this evidence"
INSTALLED_APPS = [
    "early.users",
    "early.phones",
    "early.samples",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
DATABASES = {
    "default": {
        "ENGINE": "djongo",
        "NAME": os.environ["EVIDENCE_DATABASE"],
        "CLIENT": {"host": os.environ["EVIDENCE_SERVER"]},
    }
}
AUTH_USER_MODEL = "users.User"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]
USE_TZ = True
