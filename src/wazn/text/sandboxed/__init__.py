"""What runs inside the helper process; see ``wazn.text.sandbox``.

Modules here import the standard library and one library each (jinja2 or tokenizers), never wazn:
the helper loads them as plain top-level modules, so that it starts fast and sees nothing else.
"""
