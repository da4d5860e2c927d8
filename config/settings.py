"""Django's settings: the only reader of the environment (see .env.example for every name)."""

import re
import secrets
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from config import embedded, env

BASE_DIR = Path(__file__).resolve().parent.parent
KITARAN_DATA_DIR = Path(env.text("KITARAN_DATA_DIR", str(BASE_DIR / ".kitaran"))).absolute()
# Beside PostgreSQL and not in it: what this machine sent last, to notice a database that has forgotten it.
KITARAN_WITNESS_DIR = Path(env.text("KITARAN_WITNESS_DIR", str(KITARAN_DATA_DIR / "witness"))).absolute()
KITARAN_PRODUCTION = env.boolean("KITARAN_PRODUCTION")


def _secret(name: str, file_name: str, make: Any) -> str:
    """The configured secret; outside production one is made once and kept in the data folder."""
    if value := env.secret(name):
        return value
    if KITARAN_PRODUCTION:
        raise ImproperlyConfigured(f"{name} is not set: with KITARAN_PRODUCTION=1 it has no default.")
    path = KITARAN_DATA_DIR / file_name
    if not path.exists():
        KITARAN_DATA_DIR.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{file_name}.{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(make(), encoding="ascii")
        try:
            path.hardlink_to(fresh)  # the first process wins; the others read what it wrote
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text(encoding="ascii").strip()


def _fernet_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode("ascii")


SECRET_KEY = _secret("KITARAN_SECRET_KEY", "secret-key", lambda: secrets.token_urlsafe(48))
# Newest first: rows are written with the first key and read with any of them.
KITARAN_ENCRYPTION_KEYS = _secret("KITARAN_ENCRYPTION_KEYS", "encryption-key", _fernet_key).split(",")

DEBUG = env.boolean("KITARAN_DEBUG")
ALLOWED_HOSTS = env.names("KITARAN_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
KITARAN_PUBLIC_URL = env.text("KITARAN_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config.apps.KitaranConfig",
    "billing",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.admin_policy.AdminPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_VERBOSE = False
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 1  # hours
# Behind a proxy all log-ins share an address: one person's mistakes must not lock out everybody.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "style-src": [SELF, UNSAFE_INLINE],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
    }
}
UNFOLD = {
    "SITE_TITLE": "Kitaran",
    "SITE_HEADER": "Kitaran",
    "SITE_SUBHEADER": "Recurring billing",
    "SITE_URL": None,
    "SITE_ICON": "billing.admin.site.favicon",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "billing.admin.site.favicon"},
    ],
    "STYLES": ["billing.admin.site.styles"],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "billing.admin.dashboard.start_page",
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "billing.admin.site.menu"},
    "COLORS": {
        "primary": {
            "50": "#f0fdfa",
            "100": "#ccfbf1",
            "200": "#99f6e4",
            "300": "#5eead4",
            "400": "#2dd4bf",
            "500": "#14b8a6",
            "600": "#0f766e",
            "700": "#115e59",
            "800": "#134e4a",
            "900": "#0b3b38",
            "950": "#042f2e",
        },
    },
}
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "billing" / "templates"],  # before the theme's own
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / ".static"
if not KITARAN_PRODUCTION:
    STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True  # without `collectstatic` too
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "billing.api.schema.Schema",
    "EXCEPTION_HANDLER": "billing.api.problems.handler",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Kitaran API",
    "DESCRIPTION": (BASE_DIR / "billing/api/introduction.md").read_text(encoding="utf-8"),
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "docExpansion": "list", "defaultModelsExpandDepth": 0},
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": True,
    "PREPROCESSING_HOOKS": ["billing.api.schema.only_the_api"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "billing.api.schema.close_bodies",
        "billing.api.schema.share_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "AttemptState": "billing.domain.attempts.AttemptState",
        "CardState": "billing.domain.subscriptions.CardState",
        "CollectorEnum": ["engine", "gateway"],
        "DeclineKindEnum": ["hard", "soft", "unknown"],
        "InvoiceState": "billing.domain.subscriptions.InvoiceState",
        "Language": "billing.domain.messages.Language",
        "MessageKind": "billing.domain.messages.MessageKind",
        "MessageState": "billing.domain.messages.MessageState",
        "RefundKind": "billing.domain.refunds.RefundKind",
        "RefundState": "billing.domain.refunds.RefundState",
        "SubscriptionState": "billing.domain.subscriptions.SubscriptionState",
        "WebhookDeliveryStateEnum": ["pending", "delivered", "failed", "canceled"],
    },
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "TAGS": [
        {"name": "Customers", "description": "Who is billed."},
        {"name": "Payment methods", "description": "Cards, saved on the gateway's own page."},
        {"name": "Plans", "description": "A price and a schedule."},
        {"name": "Dunning policies", "description": "What follows a declined charge."},
        {"name": "Subscriptions", "description": "A customer on a plan."},
        {"name": "Invoices", "description": "What is owed for one period, or once."},
        {"name": "Attempts", "description": "Every attempt to collect an invoice."},
        {"name": "Refunds", "description": "Refunds and reversals of payments."},
        {"name": "Webhooks", "description": "Where events are sent, and what became of each."},
        {"name": "Messages", "description": "E-mails to your customers."},
        {"name": "Account", "description": "The account of the key, and its stop switch."},
    ],
}

# --- PostgreSQL and Redis -----------------------------------------------------------------------------
_stack = None if env.secret("DATABASE_URL") else embedded.running(KITARAN_DATA_DIR)
_database_url = env.secret("DATABASE_URL") or (_stack and _stack.database_url)
if _database_url:
    _database: dict[str, Any] = embedded.parse_database_url(_database_url)
else:
    _database = {"ENGINE": "config.nodatabase", "NAME": "kitaran"}
# What is armed and settled is on disk before anybody acts on it. A process that is frozen, or a machine that is cut
# off, in the middle of a transaction keeps its rows from everybody else only so long; a URL may name another time.
# The transactions that move money set these themselves: a pooler may ignore `options`, and share a session.
_options = _database.setdefault("OPTIONS", {})
_of_the_url = dict(re.findall(r"-c\s*([a-z_]+)=(\S+)", _options.get("options", "")))
KITARAN_TRANSACTION_SETTINGS = {
    "synchronous_commit": "on",
    "lock_timeout": _of_the_url.get("lock_timeout", "20s"),
    "idle_in_transaction_session_timeout": _of_the_url.get("idle_in_transaction_session_timeout", "30s"),
}
_options["options"] = " ".join(
    ("-c idle_in_transaction_session_timeout=30s", _options.get("options", ""), "-c synchronous_commit=on")
)
_database["CONN_MAX_AGE"] = 600
_database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _database}
KITARAN_HAS_DATABASE = bool(_database_url)
# Which of the two servers the environment names; `demo` and `up` start them only when it names neither.
KITARAN_GIVEN_SERVERS = tuple(name for name in ("DATABASE_URL", "REDIS_URL") if env.secret(name))
KITARAN_REDIS_URL = env.secret("REDIS_URL") or (_stack and _stack.redis_url) or "redis://127.0.0.1:6379/0"

# --- Charging (seconds unless the name says otherwise) ------------------------------------------------
KITARAN_ALLOW_LIVE = env.boolean("KITARAN_ALLOW_LIVE")
KITARAN_SENDERS = env.integer("KITARAN_SENDERS", 64, least=1, most=1024)
KITARAN_COLLECT_SECONDS = env.integer("KITARAN_COLLECT_SECONDS", 60, least=1, most=120)
KITARAN_SEND_WINDOW_SECONDS = env.integer("KITARAN_SEND_WINDOW_SECONDS", 20, least=1, most=100)
KITARAN_GATEWAY_TOTAL_SECONDS = env.integer("KITARAN_GATEWAY_TOTAL_SECONDS", 100, least=2, most=120)
KITARAN_CHECK_LADDER_SECONDS = env.integers(
    "KITARAN_CHECK_LADDER_SECONDS", (120, 300, 900, 3600, 21600), least=1, most=864_000
)
# After 50 hours the day of the charge and the next one are over in the gateway's time zone, and reported.
KITARAN_REPORT_LADDER_SECONDS = env.integers(
    "KITARAN_REPORT_LADDER_SECONDS", (180_000, 216_000, 259_200), least=1, most=2_592_000, none_allowed=True
)
# An account's run begins with so many charges at once, and grows while they end as charges do.
KITARAN_CANARY = env.integer("KITARAN_CANARY", 4, least=1, most=64)
# How long an account pauses by itself when charges do not get through to the gateway, each time longer.
KITARAN_PAUSE_SECONDS = env.integers("KITARAN_PAUSE_SECONDS", (5, 15, 60, 300, 900), least=1, most=3600)
KITARAN_REVERSED_CHECK_SECONDS = env.integer("KITARAN_REVERSED_CHECK_SECONDS", 1200, least=1, most=86_400)
KITARAN_UNREADABLE_CARD_SECONDS = env.integer("KITARAN_UNREADABLE_CARD_SECONDS", 86_400, least=1, most=2_592_000)

# How far the database's clock may be from the gateway's; 0: they are not compared.
KITARAN_CLOCK_TOLERANCE_SECONDS = env.integer("KITARAN_CLOCK_TOLERANCE_SECONDS", 10, least=0, most=60)

# --- Webhooks -----------------------------------------------------------------------------------------
# How long one request to an endpoint may last in all, and how many are under way in a process, and at one endpoint.
KITARAN_WEBHOOK_SECONDS = env.integer("KITARAN_WEBHOOK_SECONDS", 15, least=1, most=60)
KITARAN_WEBHOOKS_AT_ONCE = env.integer("KITARAN_WEBHOOKS_AT_ONCE", 64, least=1, most=512)
KITARAN_WEBHOOKS_AT_ONCE_PER_ENDPOINT = env.integer("KITARAN_WEBHOOKS_AT_ONCE_PER_ENDPOINT", 4, least=1, most=64)
# How long a delivery that ended can be seen, and resent by itself.
KITARAN_WEBHOOK_RETENTION_DAYS = env.integer("KITARAN_WEBHOOK_RETENTION_DAYS", 30, least=1, most=3650)
# Endpoints on this machine and in private networks, also without TLS. For a developer's machine only.
KITARAN_WEBHOOKS_ALLOW_PRIVATE = env.boolean("KITARAN_WEBHOOKS_ALLOW_PRIVATE")

# --- Mail ---------------------------------------------------------------------------------------------
# SMTP; a provider's API by django-anymail; in production otherwise none, elsewhere a folder of .eml files.
EMAIL_HOST = env.optional("EMAIL_HOST") or ""
EMAIL_HOST_USER = env.optional("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = env.secret("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = env.boolean("EMAIL_USE_TLS", default=True)
EMAIL_USE_SSL = env.boolean("EMAIL_USE_SSL")
EMAIL_PORT = env.integer("EMAIL_PORT", 587, least=1, most=65_535)
EMAIL_TIMEOUT = env.integer("EMAIL_TIMEOUT", 15, least=1, most=20)
KITARAN_MAIL_DIR = KITARAN_DATA_DIR / "mail"
_smtp, _folder = "django.core.mail.backends.smtp.EmailBackend", "billing.mailing.folder.EmailBackend"
_backend = env.optional("KITARAN_MAIL_BACKEND") or (_smtp if EMAIL_HOST else None if KITARAN_PRODUCTION else _folder)
KITARAN_SENDS_MAIL = _backend is not None
EMAIL_BACKEND = _backend or "django.core.mail.backends.dummy.EmailBackend"
if (_backend or "").startswith("anymail."):
    INSTALLED_APPS.append("anymail")
# Who writes to the staff, and to whom: what needs review, stops of accounts, audits that failed.
DEFAULT_FROM_EMAIL = env.text("KITARAN_MAIL_FROM", "kitaran@localhost")
KITARAN_STAFF_MAIL = env.names("KITARAN_STAFF_MAIL")
KITARAN_STAFF_MAIL_SECONDS = env.integer("KITARAN_STAFF_MAIL_SECONDS", 900, least=60, most=86_400)
# What the provider of django-anymail needs: ANYMAIL_MAILGUN_API_KEY becomes ANYMAIL["MAILGUN_API_KEY"].
ANYMAIL = env.secrets_of("ANYMAIL_")

# How many proxies of ours add the address of whom they answer to X-Forwarded-For. Customer pages count by it.
KITARAN_PROXIES = env.integer("KITARAN_PROXIES", 1, least=0, most=5)

if KITARAN_PRODUCTION:
    SECURE_SSL_REDIRECT = env.boolean("KITARAN_SSL_REDIRECT", default=True)
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = env.integer("KITARAN_HSTS_SECONDS", 31_536_000, least=0, most=63_072_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    # Django writes the paths that it refuses: those of payment links and card pages are as good as keys.
    "filters": {"links": {"()": "config.logs.WithoutLinks"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["links"]}},
    "root": {"handlers": ["console"], "level": env.text("KITARAN_LOG_LEVEL", "INFO")},
    # urllib3 writes paths, which carry ids of cards.
    "loggers": {"urllib3": {"level": "ERROR"}},
}
