"""The libraries that can be instrumented: what each is imported as, and the module here that does it.

Where one library speaks through another, it stands after it.
"""

INTEGRATIONS = {
    "concurrent.futures.thread": "watchkeeper.integrations.executors",
    "threading": "watchkeeper.integrations.threads",
    "multiprocessing.spawn": "watchkeeper.integrations.spawned",
    "httpx": "watchkeeper.integrations.httpx",
    "httpx2": "watchkeeper.integrations.httpx2",
    "requests": "watchkeeper.integrations.requests",
    "aiohttp": "watchkeeper.integrations.aiohttp",
    "urllib3": "watchkeeper.integrations.urllib3",
    "openai": "watchkeeper.integrations.openai",
    "anthropic": "watchkeeper.integrations.anthropic",
    "mcp": "watchkeeper.integrations.mcp",
    "psycopg": "watchkeeper.integrations.psycopg",
    "psycopg2": "watchkeeper.integrations.psycopg2",
    "asyncpg": "watchkeeper.integrations.asyncpg",
    "pymysql": "watchkeeper.integrations.pymysql",
    "aiomysql": "watchkeeper.integrations.aiomysql",
    "sqlalchemy": "watchkeeper.integrations.sqlalchemy",
    "redis": "watchkeeper.integrations.redis",
    "pymongo": "watchkeeper.integrations.pymongo",
    "celery": "watchkeeper.integrations.celery",
    "pika": "watchkeeper.integrations.pika",
    "aio_pika": "watchkeeper.integrations.aio_pika",
    "confluent_kafka": "watchkeeper.integrations.confluent_kafka",
    "aiokafka": "watchkeeper.integrations.aiokafka",
    "botocore": "watchkeeper.integrations.botocore",
}
