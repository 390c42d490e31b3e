"""The HTTP server: OpenAI's chat completions in front of one worker process per model.

``app`` has the routes, ``schemas`` and ``fields`` what a request may say, ``chat_completions`` what
becomes of one, ``stream`` the events, ``errors`` the table from our errors to HTTP, ``access`` who
may ask, ``served_models`` the workers, ``listener`` the process: start, signals, draining. The
server never loads a model, renders a template or tokenises a text: workers do.
"""
