"""Live pages: an explained file that predicts and explains in a browser, with no server behind it."""
