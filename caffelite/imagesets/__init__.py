"""Images and labels from folders, lists, arrays and programs, made into databases; the mean of a database."""
