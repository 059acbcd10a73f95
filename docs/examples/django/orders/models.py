from django.db import models


class Order(models.Model):
    account = models.CharField(max_length=100)
    cents = models.PositiveIntegerField()
    state = models.CharField(max_length=20, default="placed")
