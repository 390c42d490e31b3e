"""The observatory as one HTML page that is complete in itself: for paper, phone and screen."""
