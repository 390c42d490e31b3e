"""An answer taken apart while it is written: thinking, text and tool calls, as events.

``parser`` is the way in. Each wire format is one module that reads like its grammar: a generator
over a ``source`` that waits, in the middle of a rule if need be, until more has been written.
"""
