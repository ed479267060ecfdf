"""`carryover data`: what a manifest holds, in numbers, as a figure and as a page to listen to."""
