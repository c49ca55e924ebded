"""Code that users write and nets name: the classes it is made of, and how it is imported, called and blamed."""
