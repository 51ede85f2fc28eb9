"""One program a tool: it runs in the tool's own environment and knows nothing of the rest of this package."""
