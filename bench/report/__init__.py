"""Results as a Markdown table, CSV, or one self-contained HTML page."""
