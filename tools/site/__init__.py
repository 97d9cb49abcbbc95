"""What makes a site, with mkdocs, of pages that are written for a repository."""
