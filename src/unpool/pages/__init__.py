"""HTML and SVG from plain data: one offline file, nothing from elsewhere, everything escaped."""
