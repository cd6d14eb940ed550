"""Files, folders and cache entries that are whole or absent."""
