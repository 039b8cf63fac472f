"""The commands of the command line, one module per noun; heavy libraries are imported inside them."""
