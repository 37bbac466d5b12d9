"""What an explanation returns, and how it is drawn, tabulated and saved."""
