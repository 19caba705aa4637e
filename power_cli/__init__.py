"""The commands of `./power`: run the whole service on one machine, and the tools around it."""
