"""A page on which one speaks to one or two runs and sees what they write."""
