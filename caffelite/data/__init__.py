"""Where data comes from: databases of records, what is done to them, data sets and where they are had."""
