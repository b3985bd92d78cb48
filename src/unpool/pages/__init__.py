"""HTML and SVG from plain data: one offline file that loads nothing, with everything escaped."""
