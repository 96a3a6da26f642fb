from django.contrib.admin import AdminSite
from django.urls import path

site = AdminSite(name="nights")
urlpatterns = [path("backoffice/", site.urls)]
