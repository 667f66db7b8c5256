"""The HTTP server: best-of-n behind OpenAI's API, rerank and score.

`server.py` puts it together from paths and URLs, `app.py` has the routes, `engine.py` what happens to one request.
"""
