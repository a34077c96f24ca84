"""The declared schemas: each has a key among its columns, and a unique name."""

import pytest

from stages.tables.schemas import SCHEMAS, Schema


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_a_schemas_key_is_among_its_columns(schema: Schema) -> None:
    assert schema.key
    assert set(schema.key) <= set(schema.names)
    assert [other.name for other in SCHEMAS].count(schema.name) == 1
