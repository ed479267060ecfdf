"""What turns run folders into a thesis's tables and figures; reads files only and is never imported by training."""
