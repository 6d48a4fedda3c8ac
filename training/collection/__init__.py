"""The collection itself: fetched over HTTP so that every file is right, and looked at."""
