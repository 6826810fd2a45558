"""The views of the native API: each validates, makes one domain call and renders."""
