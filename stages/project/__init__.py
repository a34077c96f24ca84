"""What every stage needs of the project around it: errors, whole files, scratch space, progress, params, pins."""
