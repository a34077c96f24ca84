"""`candor sweep`: runs one experiment for each value of a param, and tabulates them."""
