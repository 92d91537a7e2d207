"""Search for audio by text or by example: an index of files, and queries to it.

paths --embed.run--> OUT/increment/part-*.parquet --> OUT/index.safetensors --Index.open--> nearest --> hits
`build` is `zoo index`, `find` is `zoo search`.
"""

from zoo.search.building import IndexSummary, build
from zoo.search.index import Hit, Index
from zoo.search.query import find, show
from zoo.search.text_models import TextEncoder

__all__ = ["Hit", "Index", "IndexSummary", "TextEncoder", "build", "find", "show"]
