"""The commands of `carryover`, one file each."""
