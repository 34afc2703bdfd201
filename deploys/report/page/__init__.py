"""The report as one page of HTML: for people, offline, for one host or a thousand."""
