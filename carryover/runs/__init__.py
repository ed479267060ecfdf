"""What a run leaves behind: its folder, its log of events, red flags."""
