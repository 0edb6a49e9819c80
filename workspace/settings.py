"""All settings, read once from the environment or from a `.env` file beside manage.py (ENV_FILE names another file).

docs/settings.md lists the variables. An invalid value stops the start with a message that names the variable; checks
that involve several settings are system checks (workspace/checks.py).
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote

import environ
from django.core.exceptions import ImproperlyConfigured

from core import databases, redaction
from core.logs import RequestIdFilter, is_unexplained
from core.rates import Rate, parse_rate
from integrations import PROVIDERS

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
ENV_FILE = env.str("ENV_FILE", default=str(BASE_DIR / ".env"))
env.read_env(ENV_FILE)


def required(name: str, hint: str) -> str:
    value = env.str(name, default="").strip()
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {hint}")
    return value


def seconds(name: str, default: float) -> float:
    try:
        value = env.float(name, default=default)
    except ValueError:
        value = 0.0
    if not 0 < value <= 60:
        raise ImproperlyConfigured(f"{name} must be a number of seconds above 0 and at most 60.")
    return value


def whole_number(name: str, default: int, *, least: int = 0) -> int:
    try:
        value = env.int(name, default=default)
    except ValueError:
        value = least - 1
    if value < least:
        raise ImproperlyConfigured(f"{name} must be a whole number, {least} or more.")
    return value


def switch(name: str, *, default: bool) -> bool:
    text = env.str(name, default=str(default)).strip().lower()
    if text not in ("", "1", "0", "true", "false", "yes", "no", "on", "off"):
        raise ImproperlyConfigured(f"{name} must be true or false.")
    return text in ("1", "true", "yes", "on")


def redis_url(name: str) -> str:
    url = env.str(name, default="").strip()
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(f"{name} must be redis://host:port/number, rediss:// or unix://.")
    return url


def passwords_of(*urls: str) -> list[str]:
    """The passwords in these URLs, both as written and percent-decoded."""
    written = [password for url in urls for password in re.findall(r"://[^/@]*?:([^/@]+)@", url)]
    return [*written, *map(unquote, written)]


def rate(name: str, default: str) -> Rate | None:
    try:
        return parse_rate(env.str(name, default=default))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


# -- this server ---------------------------------------------------------------------------------------------------

SECRET_KEY = required("SECRET_KEY", "Set it to a long random text, for example the output of: openssl rand -hex 32")
CREDENTIAL_KEYS = [key.strip() for key in env.str("CREDENTIAL_KEYS", default="").split(",") if key.strip()]
DEBUG = switch("DEBUG", default=False)
ALLOWED_HOSTS = [
    host.strip() for host in env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"]) if host.strip()
]
PUBLIC_URL = required("PUBLIC_URL", "Set it to the https address at which carriers reach this server.").rstrip("/")
BIND = env.str("BIND", default="127.0.0.1:8000")
WORKERS = whole_number("WORKERS", 2, least=1)
TRUSTED_PROXY_COUNT = whole_number("TRUSTED_PROXY_COUNT", 0)
# Time for a client to send a request; longer for a large one (workspace/asgi.py).
REQUEST_READ_TIMEOUT_S = seconds("REQUEST_READ_TIMEOUT_S", 20)
# Grants access to /metrics. If it is not set, the page does not exist.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="").strip()
if METRICS_TOKEN and len(METRICS_TOKEN) < 32:
    raise ImproperlyConfigured(
        "METRICS_TOKEN must have at least 32 characters. Generate one with: openssl rand -hex 32"
    )

# -- carriers -----------------------------------------------------------------------------------------------------

CARRIER_API_URLS = {
    "twilio": env.str("TWILIO_API_URL", default="https://api.twilio.com").rstrip("/"),
    "plivo": env.str("PLIVO_API_URL", default="https://api.plivo.com").rstrip("/"),
    "telnyx": env.str("TELNYX_API_URL", default="https://api.telnyx.com/v2").rstrip("/"),
}
CARRIER_CONNECT_TIMEOUT_S = seconds("CARRIER_CONNECT_TIMEOUT_S", 3)
CARRIER_READ_TIMEOUT_S = seconds("CARRIER_READ_TIMEOUT_S", 10)
# Client requests per process that may wait for a carrier at a time.
CARRIER_SLOTS = whole_number("CARRIER_SLOTS", 100, least=1)
# How long webhooks signed with the previous auth token are accepted after the first one signed with the current.
TOKEN_ROTATION_WINDOW_S = whole_number("TOKEN_ROTATION_WINDOW_S", 86_400)

# -- limits -------------------------------------------------------------------------------------------------------

REDIS_URL = redis_url("REDIS_URL")
LIMITS: dict[str, Rate | None] = {
    "requests": rate("LIMIT_REQUESTS", "1200/minute"),
    "workspace_requests": rate("LIMIT_WORKSPACE_REQUESTS", "off"),
    "address_requests": rate("LIMIT_ADDRESS_REQUESTS", "off"),
    "adds": rate("LIMIT_ADDS", "240/minute"),
    "refused_credentials": rate("LIMIT_REFUSED_CREDENTIALS", "20/hour"),
    "refused_credentials_total": rate("LIMIT_REFUSED_CREDENTIALS_TOTAL", "1000/hour"),
    "failed_tokens": rate("LIMIT_FAILED_TOKENS", "60/minute"),
    "unknown_users": rate("LIMIT_UNKNOWN_USERS", "60/minute"),
    "codes": rate("LIMIT_CODES", "10/hour"),
    "events": rate("LIMIT_EVENTS", "20000/minute"),
}
# How often `reconcile` tries credentials that the carrier rejects: an account may be suspended only temporarily.
LIMITS["reconciling"] = Rate(3, 60 * 60)
# Failed sign-ins per e-mail and client address, and per client address, which a whole office may share.
LOGIN_FAILURES = whole_number("LOGIN_FAILURES", 5)
LIMITS["passwords"] = Rate(LOGIN_FAILURES, 15 * 60) if LOGIN_FAILURES else None
LIMITS["address_passwords"] = Rate(4 * LOGIN_FAILURES, 15 * 60) if LOGIN_FAILURES else None

# -- staff --------------------------------------------------------------------------------------------------------

HTTPS = PUBLIC_URL.lower().startswith("https://")
STAFF_TOTP = switch("STAFF_TOTP", default=HTTPS)
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
    "django.middleware.common.CommonMiddleware",
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
database_url = env.str("DATABASE_URL", default=f"sqlite:///{quote(str(BASE_DIR / 'db.sqlite3'))}")
DATABASES = {"default": databases.from_url("DATABASE_URL", database_url)}
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

LOG_FORMATS = {"text": "core.logs.TextLines", "json": "core.json_logs.JsonLines"}
LOG_FORMAT = env.str("LOG_FORMAT", default="text").strip().lower()
if LOG_FORMAT not in LOG_FORMATS:
    raise ImproperlyConfigured("LOG_FORMAT must be text or json.")
redaction.hide(SECRET_KEY, *CREDENTIAL_KEYS, METRICS_TOKEN, *passwords_of(database_url, REDIS_URL))

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
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # These log the URLs and headers of every request at INFO or DEBUG.
        "httpcore": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        # Logs whole commands, with the values of queries and writes.
        "pymongo": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        # So do SDKs of carriers, whose packages are named as the carriers are.
        **{name: {"level": "WARNING"} for name in PROVIDERS},
    },
}
