"""All settings, read once from the environment or from a `.env` file beside manage.py (ENV_FILE names another file).

docs/settings.md lists the variables. Invalid values stop the start with a single message that names all of them
(workspace/variables.py). What is only worth a warning is a system check (workspace/checks.py).
"""

import os
from functools import partial
from pathlib import Path
from urllib.parse import quote

from core import databases, redaction
from core.logs import RequestIdFilter, is_unexplained
from core.rates import Rate, parse_rate
from integrations import PROVIDERS
from workspace import values
from workspace.values import seconds, switch, whole_number
from workspace.variables import Variables

BASE_DIR = Path(__file__).resolve().parent.parent

env = Variables(BASE_DIR / ".env")
ENV_FILE = str(env.file)

# -- this server ---------------------------------------------------------------------------------------------------

SECRET_KEY = env.read_secret("SECRET_KEY", values.secret_key, None, hint="Make one with: openssl rand -hex 32")
CREDENTIAL_KEYS = env.read(
    "CREDENTIAL_KEYS", values.credential_keys, None, hint="Make one with: openssl rand -base64 32 | tr '+/' '-_'"
)
DEBUG = env.read("DEBUG", switch, "off")
PUBLIC_URL = env.read(
    "PUBLIC_URL", values.public_url, None, hint="Set it to the https address at which carriers reach this server."
)
HTTPS = PUBLIC_URL.lower().startswith("https://")
ALLOWED_HOSTS = [*env.read("ALLOWED_HOSTS", values.hosts, "localhost,127.0.0.1,[::1]"), values.host_of(PUBLIC_URL)]
BIND = env.read("BIND", values.bind, "127.0.0.1:8000")
WORKERS = env.read("WORKERS", whole_number(1), "2")
TRUSTED_PROXY_COUNT = env.read("TRUSTED_PROXY_COUNT", whole_number(0), "0")
if DEBUG and (exposed_by := values.exposed_by(BIND, PUBLIC_URL, TRUSTED_PROXY_COUNT)):
    env.fault(
        "DEBUG", f"is on, but others can reach this server ({exposed_by}) and would see its settings. Turn it off."
    )
# Other servers take a path from these variables.
for name in ("SCRIPT_NAME", "FORCE_SCRIPT_NAME"):
    env.read(name, values.nothing, "")
# Time for a client to send a request; longer for a large one (workspace/asgi.py).
REQUEST_READ_TIMEOUT_S = env.read("REQUEST_READ_TIMEOUT_S", seconds, "20")
# Grants access to /metrics. If it is not set, the page does not exist.
METRICS_TOKEN = env.read_secret("METRICS_TOKEN", values.bearer_token, "")

# -- carriers -----------------------------------------------------------------------------------------------------

CARRIER_API_URLS = {
    "twilio": env.read("TWILIO_API_URL", values.api_url, "https://api.twilio.com"),
    "plivo": env.read("PLIVO_API_URL", values.api_url, "https://api.plivo.com"),
    "telnyx": env.read("TELNYX_API_URL", values.api_url, "https://api.telnyx.com/v2"),
}
CARRIER_CONNECT_TIMEOUT_S = env.read("CARRIER_CONNECT_TIMEOUT_S", seconds, "3")
CARRIER_READ_TIMEOUT_S = env.read("CARRIER_READ_TIMEOUT_S", seconds, "10")
# Client requests per process that may wait for a carrier at a time.
CARRIER_SLOTS = env.read("CARRIER_SLOTS", whole_number(1), "100")
# How long webhooks signed with the previous auth token are accepted after the first one signed with the current.
TOKEN_ROTATION_WINDOW_S = env.read("TOKEN_ROTATION_WINDOW_S", whole_number(0), "86400")
# How many days a purge keeps what has no expiry of its own.
KEEP_DAYS = {
    "events": env.read("KEEP_EVENTS_DAYS", values.days, "90"),
    "audit": env.read("KEEP_AUDIT_DAYS", values.days, "365"),
    "imports": env.read("KEEP_IMPORTS_DAYS", values.days, "30"),
    "calls": env.read("KEEP_CALLS_DAYS", values.days, "forever"),
}

# -- limits -------------------------------------------------------------------------------------------------------

REDIS_URL = env.read("REDIS_URL", values.redis_url, "")
LIMITS: dict[str, Rate | None] = {
    "requests": env.read("LIMIT_REQUESTS", parse_rate, "1200/minute"),
    "workspace_requests": env.read("LIMIT_WORKSPACE_REQUESTS", parse_rate, "off"),
    "address_requests": env.read("LIMIT_ADDRESS_REQUESTS", parse_rate, "off"),
    "adds": env.read("LIMIT_ADDS", parse_rate, "240/minute"),
    "refused_credentials": env.read("LIMIT_REFUSED_CREDENTIALS", parse_rate, "20/hour"),
    "refused_credentials_total": env.read("LIMIT_REFUSED_CREDENTIALS_TOTAL", parse_rate, "1000/hour"),
    "failed_tokens": env.read("LIMIT_FAILED_TOKENS", parse_rate, "60/minute"),
    "unknown_users": env.read("LIMIT_UNKNOWN_USERS", parse_rate, "60/minute"),
    "codes": env.read("LIMIT_CODES", parse_rate, "10/hour"),
    "events": env.read("LIMIT_EVENTS", parse_rate, "20000/minute"),
}
# How often `reconcile` tries credentials that the carrier rejects: an account may be suspended only temporarily.
LIMITS["reconciling"] = Rate(3, 60 * 60)
# Failed sign-ins per e-mail and client address, and per client address, which a whole office may share.
LOGIN_FAILURES = env.read("LOGIN_FAILURES", whole_number(0), "5")
LIMITS["passwords"] = Rate(LOGIN_FAILURES, 15 * 60) if LOGIN_FAILURES else None
LIMITS["address_passwords"] = Rate(4 * LOGIN_FAILURES, 15 * 60) if LOGIN_FAILURES else None

# -- staff --------------------------------------------------------------------------------------------------------

STAFF_TOTP = env.read("STAFF_TOTP", switch, "on" if HTTPS else "off")
AUTHENTICATION_BACKENDS = ["users.staff.login.StaffBackend"]

# -- Django -------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "core",
    "workspace",
    "users",
    "phones",
    "integrations",
    *(["sandbox"] if (BASE_DIR / "sandbox").is_dir() else []),  # not part of the production image
    "workspace.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "workspace.middleware.ApiMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "workspace.pages.PageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "workspace.middleware.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "users.staff.totp.TotpMiddleware",
    "users.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "workspace.urls"
WSGI_APPLICATION = "workspace.wsgi.application"
# A path with a trailing slash gets a 404 instead of a redirect, which would drop the body.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {
    "default": env.read(
        "DATABASE_URL",
        partial(databases.from_url, "DATABASE_URL"),
        f"sqlite:///{quote(str(BASE_DIR / 'db.sqlite3'))}",
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "users.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "workspace.formats"
STATIC_URL = "static/"
# Serve static files from the packages, so that no collectstatic step is needed after an installation.
WHITENOISE_USE_FINDERS = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
# An import file contains credentials: it is never written to disk, and one that is too large is dropped.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FILE_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

# The admin's forms come from there, whatever a proxy says or does not say of the scheme and the port.
CSRF_FAILURE_VIEW = "workspace.pages.form_expired"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL.lower()] if PUBLIC_URL else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_COUNT else None
SECURE_SSL_REDIRECT = False  # carriers and clients post to the configured URL; a redirect would drop the body
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # images inside the style sheets of the admin and of the API's page
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "media-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
# At most a working day, and only while the browser is open.
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains is the domain owner's decision, not this service's
    "security.W008",  # SECURE_SSL_REDIRECT: see above
    "security.W021",  # HSTS preload: as for subdomains
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["users.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["users.authentication.HasToken"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.negotiation.FirstRenderer",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "workspace.exceptions.handle_exception",
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Workspace Phones",
    "DESCRIPTION": "Bring the phone numbers that you own at Twilio, Plivo or Telnyx into your workspace.",
    "VERSION": "1",
    "DEFAULT_GENERATOR_CLASS": "workspace.openapi.Generator",
    # `.ci/run` validates the documentation; this check would build it with a different generator.
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_SETTINGS": {"docExpansion": "list", "defaultModelsExpandDepth": -1},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
}

ACCESS_LOG = env.read("ACCESS_LOG", switch, "off")
REFUSED_BY_DJANGO = (
    "DisallowedHost",
    "RequestDataTooBig",
    "SuspiciousMultipartForm",
    "TooManyFieldsSent",
    "TooManyFilesSent",
    "csrf",
)
LOG_FORMATS = {"text": "core.logs.TextLines", "json": "core.json_logs.JsonLines"}
LOG_FORMAT = env.read("LOG_FORMAT", values.one_of(*LOG_FORMATS), "text")
redaction.hide(
    SECRET_KEY, *CREDENTIAL_KEYS, METRICS_TOKEN, *values.passwords_of(os.environ.get("DATABASE_URL", ""), REDIS_URL)
)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": RequestIdFilter},
        "unexplained": {"()": "django.utils.log.CallbackFilter", "callback": is_unexplained},
    },
    "formatters": {"line": {"()": LOG_FORMATS[LOG_FORMAT]}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Replaces Django's own console and mail handlers: each record is logged once, with the request id.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        # 4xx responses concern the client, not the operator.
        "django.request": {"level": "ERROR", "filters": ["unexplained"]},
        # Logged by workspace/refusals.py, once a minute.
        **{f"django.security.{error}": {"level": "CRITICAL"} for error in REFUSED_BY_DJANGO},
        # These log the URLs and headers of every request at INFO or DEBUG.
        "httpcore": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        # Logs whole commands, with the values of queries and writes.
        "pymongo": {"level": "WARNING"},
        # Logs each failure to connect with what the server said; core/databases/readiness.py explains it.
        "psycopg": {"level": "ERROR"},
        "urllib3": {"level": "WARNING"},
        # So do SDKs of carriers, whose packages are named as the carriers are.
        **{name: {"level": "WARNING"} for name in PROVIDERS},
    },
}

VARIABLES = frozenset(env.names)
env.finish()
