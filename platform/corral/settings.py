"""Corral's settings, in the order in which a request meets them. docs/settings.md explains every variable."""

import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured

from corral import datadir, embedded, env, listen, logging

django_stubs_ext.monkeypatch()  # lets ModelAdmin[...] and the like be written where mypy wants them

BASE_DIR = Path(__file__).resolve().parent.parent.parent
VERSION = "0.1.0"

# --- Where things are -------------------------------------------------------------------------------------------

DATA = Path(env.text("CORRAL_DATA", str(datadir.default_root()))).expanduser().absolute()
DATABASE_URL = env.text("DATABASE_URL")
REDIS_URL = env.text("REDIS_URL", shape=env.REDIS)
EMBEDDED_POSTGRES = not DATABASE_URL
EMBEDDED_VALKEY = not REDIS_URL
if EMBEDDED_POSTGRES:
    DATABASE_URL = embedded.database_url(DATA)
if EMBEDDED_VALKEY:
    REDIS_URL = embedded.redis_url(DATA)

# --- Who may knock ----------------------------------------------------------------------------------------------

LISTEN = env.text("CORRAL_LISTEN", "127.0.0.1:11434", alias="OLLAMA_HOST")
LISTEN_HOST, LISTEN_PORT = listen.parse(LISTEN)
WEB_WORKERS = env.number("CORRAL_WEB_WORKERS", 1, minimum=1, maximum=64)
ORIGINS = [origin.strip() for origin in env.text("CORRAL_ORIGINS", alias="OLLAMA_ORIGINS").split(",") if origin.strip()]
HOSTS = [host.strip().lower() for host in env.text("CORRAL_HOSTS").split(",") if host.strip()]
LOOPBACK_ADMIN = env.flag("CORRAL_LOOPBACK_ADMIN", True)
MAX_BODY_BYTES = env.number("CORRAL_MAX_BODY_BYTES", 64 * 1024 * 1024, minimum=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # apps.api.live_body bounds every body before Django reads it
SECRET_KEY = env.text("CORRAL_SECRET_KEY") or datadir.load_secrets(DATA)["django"]
DEBUG = False
ALLOWED_HOSTS = ["*"]  # apps.api.guards checks Host and Origin by the rules of the wire contract

MIDDLEWARE = [
    "corral.logging.RequestLog",
    "apps.api.guards.Guards",
    "corral.static.StaticFiles",
    "apps.streams.settle.Settle",  # what stands below it runs in threads, and is done before a stream begins
    "corral.browsers.Browsers",
]
BROWSER_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# --- The house --------------------------------------------------------------------------------------------------

SILENCED_SYSTEM_CHECKS = ["admin.E408", "admin.E409", "admin.E410"]  # they look in MIDDLEWARE only
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "corral",
    "apps.streams",
    "apps.audit",
    "apps.accounts",
    "apps.usage",
    "apps.registry",
    "apps.inference",
    "apps.api",
]
ROOT_URLCONF = "corral.urls"
ASGI_APPLICATION = "corral.asgi.application"
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
            ]
        },
    }
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # straight from the packages: no STATIC_ROOT to collect into
WHITENOISE_AUTOREFRESH = False
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Who is asking ----------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
LOGIN_URL = "/admin/login/"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.accounts.authentication.Caller"],
    "DEFAULT_PERMISSION_CLASSES": ["apps.accounts.permissions.SignedIn"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "apps.api.problems.handle",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Corral",
    "VERSION": VERSION,
    "DESCRIPTION": "Ollama's API, OpenAI's and Anthropic's on top of the same models, and Corral's own beside them.",
    "OAS_VERSION": "3.1.0",
    "DEFAULT_GENERATOR_CLASS": "apps.api.documentation.document.Generator",
    "SWAGGER_UI_DIST": "SIDECAR",  # from this server: the page works without any other
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "validatorUrl": None},
}

# --- Where state lives ------------------------------------------------------------------------------------------

DB_POOL = env.number("CORRAL_DB_POOL", 20, minimum=2, maximum=200)
DB_PREPARE = env.flag("CORRAL_DB_PREPARE", True)
ONLY_WHERE_ASKED = 2**31  # times that psycopg sees a statement before it prepares it unasked (apps/compiled.py asks)


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://; Corral runs on PostgreSQL only.")
    query = dict(item.split("=", 1) for item in parts.query.split("&") if "=" in item)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(query.pop("host", "") or parts.hostname or ""),
        "PORT": query.pop("port", "") or str(parts.port or ""),
        "OPTIONS": {
            "pool": {"min_size": 1, "max_size": DB_POOL, "timeout": 10},
            "prepare_threshold": ONLY_WHERE_ASKED if DB_PREPARE else None,
            **{name: unquote(value) for name, value in query.items()},
        },
    }


DATABASES = {"default": _database(DATABASE_URL)}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL], "prefix": "hints"}}
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# --- Event logs -------------------------------------------------------------------------------------------------

STREAM_TTL_SECONDS = env.number("CORRAL_STREAM_TTL", 600, minimum=10)

# --- Models -----------------------------------------------------------------------------------------------------

STARTER = env.text("CORRAL_STARTER", "default")
IMPORT_MODELS = env.text("CORRAL_IMPORT_MODELS", alias="OLLAMA_MODELS")
MODELFILE_DIRS = [folder for folder in env.text("CORRAL_MODELFILE_DIRS").split(":") if folder]
DEFAULT_REGISTRY = "registry.ollama.ai"

# --- Inference --------------------------------------------------------------------------------------------------

KEEP_ALIVE = env.text("CORRAL_KEEP_ALIVE", "5m", alias="OLLAMA_KEEP_ALIVE", shape=env.DURATION)
MAX_KEEP_ALIVE = env.text("CORRAL_MAX_KEEP_ALIVE", "1h", shape=env.DURATION)
NUM_PARALLEL = env.number("CORRAL_NUM_PARALLEL", 8, alias="OLLAMA_NUM_PARALLEL", minimum=1, maximum=256)
MAX_QUEUE = env.number("CORRAL_MAX_QUEUE", 512, alias="OLLAMA_MAX_QUEUE", minimum=1)
MAX_LOADED_MODELS = env.number("CORRAL_MAX_LOADED_MODELS", 0, alias="OLLAMA_MAX_LOADED_MODELS", minimum=0)
CONTEXT_LENGTH = env.number("CORRAL_CONTEXT_LENGTH", 4096, alias="OLLAMA_CONTEXT_LENGTH", minimum=4)
FLASH_ATTENTION = env.text(
    "CORRAL_FLASH_ATTENTION", "auto", alias="OLLAMA_FLASH_ATTENTION", choices=("auto", "0", "1", "false", "true")
)
KV_CACHE_TYPE = env.text(
    "CORRAL_KV_CACHE_TYPE", "f16", alias="OLLAMA_KV_CACHE_TYPE",
    choices=("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"),
)  # fmt: skip
KV_UNIFIED = env.flag("CORRAL_KV_UNIFIED", True)
STEP_TOKENS = env.number("CORRAL_STEP_TOKENS", 128, minimum=16, maximum=8192)
DRAFT_TOKENS = env.number("CORRAL_DRAFT_TOKENS", 4, minimum=0, maximum=16)
THREADS = env.number("CORRAL_THREADS", 0, minimum=0, maximum=1024)
LOAD_TIMEOUT_SECONDS = env.number("CORRAL_LOAD_TIMEOUT", 300, minimum=1)
RUN_TTL_SECONDS = env.number("CORRAL_RUN_TTL", 3600, minimum=60)
WORKER_NAME = env.text("CORRAL_WORKER_NAME", shape=env.NAME) or socket.gethostname()
RUNNER_REDIS_URL = env.text("CORRAL_RUNNER_REDIS_URL", shape=env.REDIS)

# --- Work that is carried ---------------------------------------------------------------------------------------


def _broker(url: str) -> str:
    """Celery's spelling of a Redis URL: a unix socket is `redis+socket://` there."""
    if not url.startswith("unix://"):
        return url
    parts = urlsplit(url)
    database = dict(item.split("=", 1) for item in parts.query.split("&") if "=" in item).get("db", "0")
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


CELERY_BROKER_URL = _broker(REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "polling_interval": 5,  # seconds that one BRPOP waits: each takes a core to itself
    "ack_emulation": False,  # a knock lost with its worker is repeated from the rows in seconds, garbage in an hour
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND_THREAD_SAFE = True  # there is none; else each request's thread would make its own
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "registry"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "corral.beat:Scheduler"
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    "reap-jobs": {
        "task": "apps.streams.tasks.reap_jobs",
        "schedule": 6.0,
        "options": {"queue": "upkeep", "expires": 6},
    },
    "collect-garbage": {
        "task": "apps.registry.tasks.collect_garbage",
        "schedule": 3600.0,
        "options": {"queue": "registry", "expires": 3600},
    },
    "keep-house": {
        "task": "apps.inference.tasks.keep_house",
        "schedule": 3.0,
        "options": {"queue": "upkeep", "expires": 3},
    },
}

# --- What is written down ---------------------------------------------------------------------------------------

LOG_LEVEL = env.text("CORRAL_LOG_LEVEL", "info", choices=("debug", "info", "warning", "error"))
LOG_FORMAT = env.text("CORRAL_LOG_FORMAT", "json", choices=("json", "console"))
LOGGING_CONFIG = "corral.logging.apply"
LOGGING = logging.dict_config(LOG_LEVEL, LOG_FORMAT)
