"""What a scrape of a gateway tells, for the tests of its metrics."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


async def scraped(client: httpx.AsyncClient) -> dict[str, float]:
    """Return the series that are not zero: ``name{values in the order of their labels}`` and value."""
    families = text_string_to_metric_families((await client.get("/metrics")).text)
    samples = (sample for family in families for sample in family.samples)
    told = {
        f"{sample.name}{{{','.join(dict(sorted(sample.labels.items())).values())}}}": sample.value for sample in samples
    }
    return {name: value for name, value in told.items() if value}
