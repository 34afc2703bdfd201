"""Running containers, whichever engine started them: what each is held to, judged from its process."""
