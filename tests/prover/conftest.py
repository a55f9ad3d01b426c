"""The loop and the databases are those of the services' tests."""

from services.conftest import _named_databases, databases, pytest_asyncio_loop_factories

__all__ = ["_named_databases", "databases", "pytest_asyncio_loop_factories"]
