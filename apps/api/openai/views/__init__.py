"""The views of the OpenAI dialect: each reads a body, makes one domain call and renders."""
