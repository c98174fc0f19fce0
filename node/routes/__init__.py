"""The routes: each module makes one router from its services. Routes parse, call, and shape the answer."""
