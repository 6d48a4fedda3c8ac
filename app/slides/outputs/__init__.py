"""What is written for a slide: summary, table, QuPath objects, maps and a page to read."""
