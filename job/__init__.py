"""The main job: a broker, nodes, beat and a crawl under one command, and the servers the tests share with it."""
