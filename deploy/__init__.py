"""Files that put the service into operation; `release` builds and describes what is shipped."""
