import os

from django.core.wsgi import get_wsgi_application

from project.refused import refusing

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = refusing(get_wsgi_application())
