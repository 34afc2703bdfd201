"""What facts are made of: the survey, its frame, readings, and what every host has."""
