"""What rule files are written with, beside the public names: windows, scatters, loop histories."""
