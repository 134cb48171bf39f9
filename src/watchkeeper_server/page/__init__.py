"""The web page: files built from the `page/` folder of the repository, served from memory."""
